"""A nemesis over the real lab: it breaks parts while calls run; a checker holds the carrier's truth against ours."""
