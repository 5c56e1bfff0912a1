import { type Clock, ferryError, isFerryError, messageOf } from '../../base/index.ts';
import { ERR, isLibvirtError } from '../../libvirt/index.ts';
import type { VmIdentity } from '../inventory.ts';
import type { Domain } from './block-jobs.ts';

/** libvirt itself waits without a limit for an agent that has answered once. */
const ANSWERS_WITHIN_MS = 10_000;
const TRY_AGAIN_MS = 200;
const SILENT = `it has said nothing for ${ANSWERS_WITHIN_MS / 1000} s`;

/**
 * Looks whether the agent in the guest of a domain answers, by asking it for the time: libvirt has no call that asks whether the file
 * systems are frozen, but an agent that has frozen them answers to little else.
 * @throws FerryError AGENT_MISSING, AGENT_UNRESPONSIVE, GUEST_FROZEN
 */
export async function checkAgent({ client, dom }: Domain, identity: VmIdentity, clock: Clock): Promise<void> {
  const { name: vm } = identity;
  const limit = clock.timeout(ANSWERS_WITHIN_MS);
  try {
    await client.call('DOMAIN_GET_TIME', { dom }, { signal: limit });
  } catch (error) {
    if (limit.aborted) throw ferryError('AGENT_UNRESPONSIVE', { vm, reason: SILENT }, { cause: error });
    if (!isLibvirtError(error)) throw error;
    const reason = String(error.fields['message']).replace(/^Guest agent is not responding: /, '');
    if (isLibvirtError(error, ERR.ARGUMENT_UNSUPPORTED)) throw ferryError('AGENT_MISSING', { vm }, { cause: error });
    if (isLibvirtError(error, ERR.AGENT_UNRESPONSIVE, ERR.OPERATION_INVALID)) {
      throw ferryError('AGENT_UNRESPONSIVE', { vm, reason }, { cause: error });
    }
    // An agent that is not allowed to tell the time may freeze all the same.
    if (!/\bfrozen\b/.test(reason)) return;
    throw ferryError('GUEST_FROZEN', { vm, command: byHand(identity) }, { cause: error });
  }
}

/**
 * Thaws the file systems, by libvirt's own call; those that are not frozen are no error. An agent that does not answer in time has
 * been told all the same.
 * @throws FerryError GUEST_NOT_THAWED
 */
export async function thawGuest({ client, dom }: Domain, identity: VmIdentity, clock: Clock): Promise<void> {
  const limit = clock.timeout(ANSWERS_WITHIN_MS);
  for (;;) {
    try {
      await client.call('DOMAIN_FSTHAW', { dom, mountpoints: [] }, { signal: limit });
      return;
    } catch (error) {
      if (!limit.aborted && !isFerryError(error)) throw error;
      // A libvirtd that has just been started answers before it is connected to the agents of its VMs.
      if (!limit.aborted && isLibvirtError(error, ERR.AGENT_UNRESPONSIVE)) {
        await clock.sleep(TRY_AGAIN_MS);
        continue;
      }
      const reason = limit.aborted ? SILENT : messageOf(error);
      const fields = { vm: identity.name, reason, command: byHand(identity) };
      throw ferryError('GUEST_NOT_THAWED', fields, { cause: error });
    }
  }
}

function byHand({ name, address }: VmIdentity): string {
  const [uri, vm] = [address, name].map((text) => `'${text.replaceAll("'", String.raw`'\''`)}'`);
  return `virsh -c ${uri} domfsthaw ${vm}`;
}
