"""The forges: GitHub, GitLab and Bitbucket Cloud behind one protocol (`base`)."""
