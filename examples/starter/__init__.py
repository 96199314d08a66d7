"""The composer of the starter corpus: band songs by rule, with labels that are true by design."""
