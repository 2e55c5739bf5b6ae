"""Parts that several views draw with. A component gets data and draws; it asks neither the catalog nor Dagster."""
