"""From music files to sharded datasets to packed rows."""
