import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { errnoOf, type FerryError, ferryError, messageOf, waitWithin } from '../../base/index.ts';
import type { LibvirtUri } from '../uri.ts';
import { socketPath } from './socket-path.ts';
import { dialSsh } from './ssh.ts';
import { dialTls } from './tls.ts';

const TCP_PORT = 16_509;

export interface Dialed {
  readonly stream: Duplex;
  /** What the way there has said for people: ssh's messages. */
  readonly said: () => string;
}

const NOTHING_SAID = (): string => '';

function connectError(address: string, error: unknown): FerryError {
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return ferryError('LIBVIRT_NO_SOCKET', { address }, { cause: error });
    case 'ECONNREFUSED':
      return ferryError('LIBVIRT_REFUSED', { address }, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return ferryError('LIBVIRT_DENIED', { address }, { cause: error });
    default:
      return ferryError('LIBVIRT_CONNECT', { address, reason: messageOf(error) }, { cause: error });
  }
}

/**
 * Opens the way to the libvirtd that a URI names; nothing of its protocol is spoken yet.
 * @throws FerryError LIBVIRT_NO_SOCKET, LIBVIRT_REFUSED, LIBVIRT_DENIED, LIBVIRT_CONNECT; the signal's reason
 */
export async function dial(uri: LibvirtUri, signal: AbortSignal): Promise<Dialed> {
  signal.throwIfAborted();
  if (uri.transport === 'ssh') return dialSsh(uri);
  const address = uri.transport === 'unix' ? socketPath(uri, process.getuid?.() ?? 0) : uri.text;
  const stream = socketOf(uri, address);
  await established(stream, address, uri.transport === 'tls' ? 'secureConnect' : 'connect', signal);
  if (uri.transport === 'tls') await accepted(stream, address, signal);
  return { stream, said: NOTHING_SAID };
}

function socketOf(uri: LibvirtUri, path: string): Socket {
  if (uri.transport === 'unix') return connect({ path });
  if (uri.transport === 'tls') return dialTls(uri);
  return connect({ host: uri.host ?? '', port: uri.port ?? TCP_PORT, noDelay: true });
}

async function established(stream: Duplex, address: string, event: string, signal: AbortSignal): Promise<void> {
  await untilAgreed(stream, signal, (resolve, reject) => {
    const onError = (error: Error): void => reject(connectError(address, error));
    const onClose = (): void => reject(ferryError('LIBVIRT_CONNECT', { address, reason: 'closed by the peer' }));
    stream.once(event, resolve).once('error', onError).once('close', onClose);
    return () => {
      stream.off(event, resolve).off('error', onError).off('close', onClose);
      // An error after a destroy has nobody to tell; the session listens from here on.
      stream.on('error', () => undefined);
    };
  });
}

/** libvirtd looks at our certificate after the handshake, and sends one byte when it accepts it. */
async function accepted(stream: Duplex, address: string, signal: AbortSignal): Promise<void> {
  await untilAgreed(stream, signal, (resolve, reject) => {
    const refused = (): void => {
      const reason = 'it does not accept our certificate or address (its log says why)';
      reject(ferryError('LIBVIRT_CONNECT', { address, reason }));
    };
    const onReadable = (): void => {
      const word = stream.read(1) as Buffer | null;
      if (word?.[0] === 1) resolve();
      else if (word !== null) refused();
    };
    stream.on('readable', onReadable).once('close', refused).once('end', refused);
    return () => void stream.off('readable', onReadable).off('close', refused).off('end', refused);
  });
}

/** Waits for what `listen` listens for, and stops listening. A way that is not agreed on is closed. */
async function untilAgreed(
  stream: Duplex,
  signal: AbortSignal,
  listen: (resolve: () => void, reject: (reason: unknown) => void) => () => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stopListening = listen(() => resolve(), reject);
  try {
    await waitWithin(promise, { signal }, { onAbort: reject });
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    stopListening();
  }
}
