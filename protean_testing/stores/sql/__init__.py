"""SQL databases through SQLAlchemy: the store, its engines, and the protocol that every backend keeps."""
