/**
 * The path under which the store knows a notebook: relative to the project, or
 * absolute where the notebook lies outside it.
 *
 * @param path the path below the root of the server
 */
export function storedPath(
  path: string,
  serverRoot: string,
  projectRoot: string
): string {
  if (serverRoot === '') {
    return path;
  }
  const full = `${serverRoot.replace(/\/$/, '')}/${path}`;
  const inside = `${projectRoot.replace(/\/$/, '')}/`;
  return full.startsWith(inside) ? full.slice(inside.length) : full;
}

/**
 * The path below the root of the server of a file that the store knows, or `null`
 * where the server does not serve it.
 */
export function servedPath(
  stored: string,
  serverRoot: string,
  projectRoot: string
): string | null {
  if (serverRoot === '' || projectRoot === '') {
    return stored.startsWith('/') ? null : stored;
  }
  const full = stored.startsWith('/')
    ? stored
    : `${projectRoot.replace(/\/$/, '')}/${stored}`;
  const inside = `${serverRoot.replace(/\/$/, '')}/`;
  return full.startsWith(inside) ? full.slice(inside.length) : null;
}

/**
 * The folder of the server's root below the project, where a notebook can be
 * opened: empty where the server serves the whole project.
 */
export function servedFolder(serverRoot: string, projectRoot: string): string {
  const inside = `${projectRoot.replace(/\/$/, '')}/`;
  return serverRoot.startsWith(inside) ? serverRoot.slice(inside.length) : '';
}
