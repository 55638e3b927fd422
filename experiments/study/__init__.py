"""Reports of `fleet study NAME`, from the records of the run alone."""
