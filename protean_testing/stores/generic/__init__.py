"""Databases without a backend of their own, MySQL and MariaDB among them.

Nothing is imported here: every SQL store asks `mysql` for the deadlines of its calls.
"""
