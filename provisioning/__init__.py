"""Provisioning: machines from providers, bootstrap over SSH, fencing by power-off."""
