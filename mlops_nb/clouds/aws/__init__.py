"""Machines of Amazon EC2, on boto3: `cloud.AwsCloud`."""
