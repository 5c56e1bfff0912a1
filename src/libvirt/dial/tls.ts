import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { errnoOf, ferryError, messageOf } from '../../base/index.ts';
import type { LibvirtUri } from '../uri.ts';

const TLS_PORT = 16_514;

interface Certificates {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

function inOne(folder: string): Certificates {
  return {
    authority: join(folder, 'cacert.pem'),
    certificate: join(folder, 'clientcert.pem'),
    key: join(folder, 'clientkey.pem'),
  };
}

/** Where libvirt looks: the folder of `pkipath`, else the user's own, else the system's. */
function certificates(uri: LibvirtUri): Certificates {
  const given = uri.options.get('pkipath');
  if (given !== undefined) return inOne(given);
  const own = inOne(join(homedir(), '.pki', 'libvirt'));
  if (process.getuid?.() !== 0 && Object.values(own).every((path: string) => existsSync(path))) return own;
  return {
    authority: '/etc/pki/CA/cacert.pem',
    certificate: '/etc/pki/libvirt/clientcert.pem',
    key: '/etc/pki/libvirt/private/clientkey.pem',
  };
}

function pem(uri: LibvirtUri, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = `the certificate '${path}' cannot be read: ${errnoOf(error) ?? messageOf(error)}`;
    throw ferryError('LIBVIRT_CONNECT', { address: uri.text, reason }, { cause: error });
  }
}

/**
 * `qemu+tls://`: both sides show a certificate. After the handshake libvirtd still says whether it accepts ours; the
 * session waits for that word.
 */
export function dialTls(uri: LibvirtUri): TLSSocket {
  const paths = certificates(uri);
  return connect({
    host: uri.host ?? '',
    port: uri.port ?? TLS_PORT,
    // A name for the server to choose a certificate by; an address is none (RFC 6066).
    servername: isIP(uri.host ?? '') === 0 ? (uri.host ?? '') : '',
    ca: pem(uri, paths.authority),
    cert: pem(uri, paths.certificate),
    key: pem(uri, paths.key),
    rejectUnauthorized: uri.options.get('no_verify') !== '1',
  });
}
