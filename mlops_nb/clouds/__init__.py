"""Where machines come from: AWS, GCP, Azure, Kubernetes, SSH and this machine, behind `base.Cloud`."""
