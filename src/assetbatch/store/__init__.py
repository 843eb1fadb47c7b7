"""PostgreSQL: the owner's tables, migrations, prices and bars."""
