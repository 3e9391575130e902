"""Documents for people: the invoice's page, made from the invoice's JSON and nothing else."""
