"""Results, verdict, table and page, and the folder that they stand in."""
