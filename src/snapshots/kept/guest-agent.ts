import { isFerryError } from '../../base/index.ts';
import type { VirtualMachine } from '../../vm/index.ts';
import { refusal } from '../snapshot-error.ts';

/**
 * Before anything is touched: whether the guest's agent would freeze its file systems.
 * @throws SnapshotError as libvirt: VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_ERR_AGENT_UNRESPONSIVE; VIR_ERR_OPERATION_INVALID when they
 *   are frozen already, or when the agent refuses
 */
export async function checkAgent(vm: VirtualMachine): Promise<void> {
  try {
    await vm.canFreeze();
  } catch (error) {
    if (!isFerryError(error)) throw error;
    const { code, message, fields } = error;
    const cause = { cause: error };
    if (code === 'AGENT_MISSING') {
      throw refusal('VIR_ERR_ARGUMENT_UNSUPPORTED', 'QEMU guest agent is not configured', cause);
    }
    if (code === 'AGENT_UNRESPONSIVE') throw refusal('VIR_ERR_AGENT_UNRESPONSIVE', String(fields['reason']), cause);
    if (code === 'GUEST_FROZEN' || code === 'AGENT_REFUSED') throw refusal('VIR_ERR_OPERATION_INVALID', message, cause);
    throw error;
  }
}
