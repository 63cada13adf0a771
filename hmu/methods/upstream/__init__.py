"""The authors' own variants, for their numbers (``variant: upstream``)."""
