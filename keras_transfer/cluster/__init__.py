"""Several machines learn one classifier, under Ray."""
