"""What a run reports: results, verdict, table and page, and the files in its folder."""
