"""What the outboxes in tables have in common: Django's models and SQLAlchemy's tables are two ways to the same rows."""
