"""`sluice restore`: put the traffic back without Temporal."""
