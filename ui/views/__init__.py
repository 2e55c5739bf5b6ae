"""One script a page. A view asks the catalog and draws: no SQL, no path and no call to Dagster in here."""
