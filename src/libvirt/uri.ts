import { ferryError } from '../base/index.ts';

/** How a libvirtd is reached. */
export type LibvirtTransport = 'unix' | 'ssh' | 'tls' | 'tcp';

/** A connection URI in its parts, `qemu+ssh://root@host:2222/system?keyfile=/k` for one. */
export interface LibvirtUri {
  /** As it was given. */
  readonly text: string;
  /** The driver: `qemu`, `test`. */
  readonly driver: string;
  readonly transport: LibvirtTransport;
  readonly user: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** `/system`, `/session`; `/default` of the test driver. */
  readonly path: string;
  /** The options after the question mark by their names. */
  readonly options: ReadonlyMap<string, string>;
  /** What the far libvirtd is asked to open: the URI without transport, host and the options that are ours. */
  readonly remoteName: string;
}

const TRANSPORTS: readonly string[] = ['unix', 'ssh', 'tls', 'tcp'];
/** The options that the client's side of libvirt uses itself; all others go to the driver. */
const OUR_OPTIONS: ReadonlySet<string> = new Set([
  'name',
  'command',
  'socket',
  'auth',
  'netcat',
  'keyfile',
  'no_verify',
  'no_tty',
  'pkipath',
  'mode',
  'proxy',
  'tls_priority',
]);

function bad(text: string, why: string): Error {
  return ferryError('LIBVIRT_URI', { uri: text, why });
}

/**
 * Reads a connection URI as libvirt does: without a transport it is the local socket where no host is named, and TLS
 * where one is.
 * @throws FerryError LIBVIRT_URI
 */
export function parseLibvirtUri(text: string): LibvirtUri {
  const match = /^(?<scheme>[a-z][a-z0-9+.-]*):\/\/(?<rest>.*)$/i.exec(text);
  if (!match?.groups) throw bad(text, 'it has no scheme such as qemu://');
  const [driver = '', named] = (match.groups['scheme'] ?? '').toLowerCase().split('+', 2);
  const rest = match.groups['rest'] ?? '';
  const local = rest.startsWith('/');
  let url: URL;
  try {
    // WHATWG takes hosts apart for schemes that it knows only; http is one of them. A plus in an option is a plus.
    url = new URL(`http://${local ? 'none' : ''}${rest.replaceAll('+', '%2B')}`);
  } catch (error) {
    throw ferryError('LIBVIRT_URI', { uri: text, why: 'its host or port cannot be read' }, { cause: error });
  }
  if (named !== undefined && !TRANSPORTS.includes(named)) {
    throw bad(text, `the transport '${named}' is not one of ${TRANSPORTS.join(', ')}`);
  }
  const transport = (named ?? (local ? 'unix' : 'tls')) as LibvirtTransport;
  if (transport === 'unix' && !local) throw bad(text, `a local socket has no host ('${url.hostname}')`);
  if (transport !== 'unix' && local) throw bad(text, `the transport ${transport} needs a host`);
  const options = new Map(url.searchParams);
  return {
    text,
    driver,
    transport,
    user: url.username === '' ? undefined : decodeURIComponent(url.username),
    host: local ? undefined : url.hostname.replaceAll(/^\[|\]$/g, ''),
    port: url.port === '' ? undefined : Number(url.port),
    path: decodeURIComponent(url.pathname),
    options,
    remoteName: options.get('name') ?? remoteName(driver, url, options),
  };
}

function remoteName(driver: string, url: URL, options: ReadonlyMap<string, string>): string {
  const theirs = new URLSearchParams([...options].filter(([name]) => !OUR_OPTIONS.has(name)));
  const query = theirs.size === 0 ? '' : `?${theirs.toString()}`;
  return `${driver}://${url.pathname}${query}`;
}
