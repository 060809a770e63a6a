"""Names of environment variables that say how a machine is set up, and no secret: what every list of those passed on begins with."""

LANGUAGES = ("LANG", "LANGUAGE", "TZ")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy")
"""Ways through the network. Their values may hold a password."""
SETUP = (*LANGUAGES, *CERTIFICATES, *PROXIES, "PATH", "TMPDIR", "SHELL", "LD_LIBRARY_PATH")
