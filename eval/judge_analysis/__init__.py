"""Analysis of a judge's verdicts: bias, agreement with people, calibration, trust."""
