"""Other gateways behind the same load balancer, met in Redis."""
