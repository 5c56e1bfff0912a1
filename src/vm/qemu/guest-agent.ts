import { type Clock, type FerryError, ferryError, isFerryError, messageOf } from '../../base/index.ts';
import { type AgentAnswer, AgentSession } from './agent-session.ts';
import type { Monitor } from './monitor.ts';

/** By this name the agent in the guest looks for its port, and libvirt on the host. */
const PORT_NAME = 'org.qemu.guest_agent.0';
/** An agent that runs answers within milliseconds; on a guest that has much to do, within seconds. */
const ANSWERS_WITHIN_MS = 10_000;
/** Freezing writes out what the guest has not written yet. Windows' own limit for it is the same. */
const FREEZES_WITHIN_MS = 60_000;

/** What a person sends to the socket, or does in the guest. */
const THAW = '{"execute":"guest-fsfreeze-thaw"}';
const IN_THE_GUEST = 'fsfreeze --unfreeze DIRECTORY in the guest, for each file system';

/** The port of a VM that a guest agent listens at. */
interface AgentPort {
  /** The unix socket on the host. */
  readonly path: string;
  /** Whether a program in the guest has it open. */
  readonly open: boolean;
  /** Whether somebody on the host is connected to the socket. */
  readonly taken: boolean;
}

export interface GuestAgentDeps {
  /** The VM's name. */
  readonly vm: string;
  readonly clock: Clock;
  readonly monitor: () => Promise<Monitor>;
  /** A file's name as QEMU was given it, as a name that means the same here. */
  readonly absolute: (filename: string) => string | undefined;
}

/**
 * The agent in the guest of a VM that is driven over QMP, as far as its file systems are frozen and thawed by it. While they may be
 * frozen its socket is kept, so that nobody else comes between.
 */
export class GuestAgent implements Disposable {
  readonly #deps: GuestAgentDeps;
  #session: AgentSession | undefined;

  constructor(deps: GuestAgentDeps) {
    this.#deps = deps;
  }

  /**
   * Looks whether the file systems can be frozen (`guest-fsfreeze-status`); keeps the socket.
   * @throws FerryError AGENT_MISSING, AGENT_UNRESPONSIVE, AGENT_REFUSED; GUEST_FROZEN when somebody else has frozen them
   */
  async check(): Promise<void> {
    const { vm, monitor } = this.#deps;
    const { status: state } = await (await monitor()).execute('query-status');
    if (state !== 'running') throw ferryError('AGENT_UNRESPONSIVE', { vm, reason: `the VM does not run (${state})` });
    const status = await this.#execute('guest-fsfreeze-status', ANSWERS_WITHIN_MS);
    if (status !== 'frozen') return;
    this[Symbol.dispose]();
    throw ferryError('GUEST_FROZEN', { vm, command: await this.#byHand() });
  }

  /**
   * Freezes the file systems (`guest-fsfreeze-freeze`): what was written is on the disks, and what writes waits, until `thaw`.
   * @throws FerryError AGENT_UNRESPONSIVE: they may be frozen, now or in a while; AGENT_REFUSED: none is
   */
  async freeze(): Promise<void> {
    await this.#execute('guest-fsfreeze-freeze', FREEZES_WITHIN_MS);
  }

  /**
   * Thaws the file systems (`guest-fsfreeze-thaw`), also after a freeze that was not answered. Nothing happens where none is frozen.
   * @returns how many were
   * @throws FerryError GUEST_NOT_THAWED
   */
  async thaw(): Promise<number> {
    // One that may still be busy with the freeze is given the time for that once more.
    const withinMs = this.#session === undefined ? ANSWERS_WITHIN_MS : FREEZES_WITHIN_MS;
    const limit = this.#deps.clock.timeout(withinMs);
    try {
      const session = await this.#connected(limit);
      return Number(this.#returned('guest-fsfreeze-thaw', await session.executeNext('guest-fsfreeze-thaw', limit)));
    } catch (error) {
      const { vm } = this.#deps;
      const cause = limit.aborted ? this.#silent(withinMs) : error;
      const reason = isFerryError(cause) ? cause.message : messageOf(cause);
      throw ferryError('GUEST_NOT_THAWED', { vm, reason, command: await this.#byHand() }, { cause });
    } finally {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.#session?.[Symbol.dispose]();
    this.#session = undefined;
  }

  async #execute(command: string, withinMs: number): Promise<unknown> {
    const limit = this.#deps.clock.timeout(withinMs);
    try {
      const session = await this.#connected(limit);
      return this.#returned(command, await session.execute(command, limit));
    } catch (error) {
      throw limit.aborted ? this.#silent(withinMs) : error;
    }
  }

  async #connected(limit: AbortSignal): Promise<AgentSession> {
    if (this.#session !== undefined) return this.#session;
    const { vm } = this.#deps;
    const { path, open, taken } = await this.#port();
    if (!open) throw ferryError('AGENT_UNRESPONSIVE', { vm, reason: 'QEMU guest agent is not connected' });
    if (taken) throw ferryError('AGENT_UNRESPONSIVE', { vm, reason: `somebody else is connected to ${path}` });
    try {
      this.#session = await AgentSession.open(path, vm, limit);
    } catch (error) {
      if (limit.aborted || isFerryError(error)) throw error;
      throw ferryError('AGENT_UNRESPONSIVE', { vm, reason: messageOf(error) }, { cause: error });
    }
    return this.#session;
  }

  #returned(command: string, answer: AgentAnswer): unknown {
    if ('return' in answer) return answer.return;
    throw ferryError('AGENT_REFUSED', { vm: this.#deps.vm, command, reason: answer.error.desc });
  }

  #silent(ms: number): FerryError {
    return ferryError('AGENT_UNRESPONSIVE', { vm: this.#deps.vm, reason: `it has said nothing for ${ms / 1000} s` });
  }

  /** @throws FerryError AGENT_MISSING */
  async #port(): Promise<AgentPort> {
    const { vm, monitor, absolute } = this.#deps;
    const qmp = await monitor();
    const label = await portChardev(qmp);
    const chardev = (await qmp.execute('query-chardev')).find((each) => each.label === label);
    // As 7.2 and 10.0 have it: `disconnected:unix:PATH,server=on`, without the first word while somebody is connected.
    const [, free, path] = /^(disconnected:)?unix:(.*?)(?:,server(?:=on)?)?$/s.exec(chardev?.filename ?? '') ?? [];
    const there = path === undefined ? undefined : absolute(path);
    if (chardev === undefined || there === undefined) throw ferryError('AGENT_MISSING', { vm });
    return { path: there, open: chardev['frontend-open'], taken: free === undefined };
  }

  /** What a person can do where it cannot be done here. */
  async #byHand(): Promise<string> {
    const port = await this.#port().catch(() => undefined);
    if (port === undefined) return IN_THE_GUEST;
    const address = `UNIX-CONNECT:${port.path.replaceAll(/[\\,:!"'()[\]{}]/g, String.raw`\$&`)}`;
    // It stays connected for a while: an agent whose answer nobody takes stands still.
    return `(echo '${THAW}'; sleep 5) | socat - '${address.replaceAll("'", `'\\''`)}'; or ${IN_THE_GUEST}`;
  }
}

/** The label of the chardev behind the agent's port; undefined where the VM has none. */
async function portChardev(qmp: Monitor): Promise<string | undefined> {
  // Devices with an id, and those without.
  for (const container of ['/machine/peripheral', '/machine/peripheral-anon']) {
    for (const { name, type } of await qmp.execute('qom-list', { path: container })) {
      if (type !== 'child<virtserialport>') continue;
      const path = `${container}/${name}`;
      const [port, chardev] = await Promise.all(
        ['name', 'chardev'].map(async (property) => await qmp.execute('qom-get', { path, property })),
      );
      if (port === PORT_NAME && typeof chardev === 'string') return chardev;
    }
  }
  return undefined;
}
