"""The small application that the pages of the documentation test."""
