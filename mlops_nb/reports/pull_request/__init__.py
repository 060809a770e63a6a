"""The report of a pull request: its data, and what a reviewer reads of it on GitHub, GitLab and Bitbucket."""
