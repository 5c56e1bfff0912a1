import { connect, type Socket } from 'node:net';
import { errnoOf, type FerryError, ferryError, messageOf, systemClock } from '../base/index.ts';
import { formatQmpAddress, type QmpAddress } from './address.ts';

/** What the errors of connect(2) say about a monitor. */
function connectError(address: QmpAddress, error: unknown): FerryError {
  const text = formatQmpAddress(address);
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return ferryError('QMP_NO_SOCKET', { address: text }, { cause: error });
    case 'ECONNREFUSED':
      return ferryError('QMP_REFUSED', { address: text }, { cause: error });
    case 'EACCES':
    case 'EPERM':
      return ferryError('QMP_DENIED', { address: text }, { cause: error });
    case 'EINVAL':
      return ferryError(
        'QMP_CONNECT',
        { address: text, reason: 'the path is longer than a socket address may be (107 bytes)' },
        { cause: error },
      );
    default:
      return ferryError('QMP_CONNECT', { address: text, reason: messageOf(error) }, { cause: error });
  }
}

/** How often a socket whose queue is full is tried again, in milliseconds. */
const RETRY_MS = 50;

/**
 * Connects a socket, and waits while its queue of connections is full: QEMU does not accept while it has a client, and
 * its queue is so short that two clients which gave up fill it until then (connect(2) says EAGAIN).
 * @throws FerryError QMP_NO_SOCKET, QMP_REFUSED, QMP_DENIED, QMP_CONNECT; the signal's reason
 */
export async function dial(address: QmpAddress, signal: AbortSignal): Promise<Socket> {
  while (true) {
    try {
      return await attempt(address, signal);
    } catch (error) {
      if (errnoOf(error instanceof Error ? error.cause : undefined) !== 'EAGAIN') throw error;
      await systemClock.sleep(RETRY_MS, signal);
    }
  }
}

async function attempt(address: QmpAddress, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket =
    'path' in address
      ? connect({ path: address.path })
      : connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('connect', () => resolve(socket));
  socket.once('error', (error) => reject(connectError(address, error)));
  try {
    return await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.removeAllListeners('error');
    // An error after a destroy has nobody to tell; the session listens from here on.
    socket.on('error', () => undefined);
  }
}
