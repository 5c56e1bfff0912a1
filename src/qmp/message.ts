/** What comes over a QMP connection: a greeting, an event, or the answer to a command (docs/interop/qmp-spec of QEMU). */
import { ferryError } from '../base/index.ts';
import { parseExactJson } from './exact-json.ts';

/** The first message of a monitor. */
export interface QmpGreeting {
  readonly version: {
    readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number };
    /** The packager's name of the build, such as `Debian 1:7.2+dfsg-7`; often empty. */
    readonly package: string;
  };
  /** `oob`: commands can be executed out of band. */
  readonly capabilities: readonly string[];
}

/** QEMU's refusal of a command. */
export interface QmpErrorReply {
  /** `GenericError`, `CommandNotFound`, `DeviceNotFound`, `DeviceNotActive`, `KVMMissingCap`. */
  readonly class: string;
  /** For people; not stable between versions. */
  readonly desc: string;
}

/** An event of any name, as it came. */
export interface RawEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it happened, by the host's wall clock. Both -1 where the host could not tell. */
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

export type QmpMessage =
  | { readonly kind: 'greeting'; readonly greeting: QmpGreeting }
  | { readonly kind: 'event'; readonly event: RawEvent }
  | { readonly kind: 'return'; readonly id: unknown; readonly value: unknown; readonly received: unknown }
  | { readonly kind: 'error'; readonly id: unknown; readonly error: QmpErrorReply; readonly received: unknown };

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads one message.
 * @throws FerryError QMP_PROTOCOL when it is not JSON or none of the kinds that QMP has
 */
export function parseMessage(text: string): QmpMessage {
  let received: unknown;
  try {
    received = parseExactJson(text);
  } catch (error) {
    throw unexpected('a message that is not JSON', text, error);
  }
  if (!isObject(received)) throw unexpected('a message that is not an object', text);
  if (isObject(received['QMP'])) return { kind: 'greeting', greeting: greetingOf(received['QMP'], text) };
  if (typeof received['event'] === 'string') return { kind: 'event', event: eventOf(received['event'], received) };
  if ('return' in received) return { kind: 'return', id: received['id'], value: received['return'], received };
  const error = received['error'];
  if (isObject(error) && typeof error['class'] === 'string' && typeof error['desc'] === 'string') {
    return { kind: 'error', id: received['id'], error: { class: error['class'], desc: error['desc'] }, received };
  }
  throw unexpected('a message that is neither a greeting, an event nor an answer', text);
}

function greetingOf(qmp: Readonly<Record<string, unknown>>, text: string): QmpGreeting {
  const { version, capabilities } = qmp;
  const qemu = isObject(version) ? version['qemu'] : undefined;
  if (!isObject(version) || !isObject(qemu)) throw unexpected('a greeting without a version', text);
  const number = (name: string): number => (typeof qemu[name] === 'number' ? qemu[name] : 0);
  return {
    version: {
      qemu: { major: number('major'), minor: number('minor'), micro: number('micro') },
      package: typeof version['package'] === 'string' ? version['package'] : '',
    },
    // Before QEMU 2.12 the list is empty; what is not a string is a capability that we cannot ask for.
    capabilities: Array.isArray(capabilities) ? capabilities.filter((name) => typeof name === 'string') : [],
  };
}

function eventOf(name: string, received: Readonly<Record<string, unknown>>): RawEvent {
  const { data, timestamp } = received;
  const time = (part: string): number =>
    isObject(timestamp) && typeof timestamp[part] === 'number' ? timestamp[part] : -1;
  return {
    event: name,
    data: isObject(data) ? data : {},
    timestamp: { seconds: time('seconds'), microseconds: time('microseconds') },
  };
}

function unexpected(why: string, text: string, cause?: unknown): Error {
  return ferryError('QMP_PROTOCOL', { why }, { cause, details: { text: text.slice(0, 1000) } });
}
