import type { CommandArguments } from '../../qmp/index.ts';
import type { NodeSettings } from '../inventory.ts';
import type { FoldJob, MirrorNode, OverlayNode, TargetChain } from '../virtual-machine.ts';

type BlockdevAdd = CommandArguments<'blockdev-add'>;
type ReopenOptions = CommandArguments<'blockdev-reopen'>['options'][number];

/**
 * What a node has to keep of the one whose place it takes. `no-flush` is never kept: with `cache=unsafe` nothing would
 * make the target durable at the swap. The file below inherits the cache mode, and takes discards in any case.
 */
function common({
  direct,
  detectZeroes,
  discard,
}: NodeSettings): Pick<BlockdevAdd, 'cache' | 'detect-zeroes' | 'discard'> {
  return { cache: { direct, 'no-flush': false }, 'detect-zeroes': detectZeroes, discard };
}

function file(path: string, { aio }: NodeSettings, node?: string): BlockdevAdd {
  return { driver: 'file', filename: path, ...(aio && { aio }), ...(node !== undefined && { 'node-name': node }) };
}

/** The source overlay: on nothing yet, the snapshot puts it on the active node. */
export function overlayOptions({ node, path, settings }: OverlayNode): BlockdevAdd {
  return { driver: 'qcow2', 'node-name': node, ...common(settings), file: file(path, settings), backing: null };
}

/**
 * The mirror, opened on the immutable chain of the source. Never on `backing: null`: in `copy-mode=write-blocking` a 4 KiB
 * guest write to a cluster that the overlay does not have would fill the rest of the cluster with zeroes, without a word.
 */
export function mirrorOptions({ node, fileNode, path, base, settings, served }: MirrorNode): BlockdevAdd {
  return {
    driver: 'qcow2',
    'node-name': node,
    ...common(settings),
    // Without a name it is QEMU's own, which closes it when the mirror is put on its file.
    file: served
      ? { driver: 'nbd', server: { type: 'unix', path: served.socket }, export: served.name }
      : file(path, settings, fileNode),
    backing: base,
  };
}

/**
 * Top of the chain on the target. The file is given inline: QEMU then makes it writable by itself when the overlay is
 * folded into it, and otherwise refuses ("Block node is read-only"). The chain below is opened by the names in the
 * headers, as it will be at the VM's next start.
 */
export function chainOptions({ node, path, format, mirror }: TargetChain): BlockdevAdd {
  const options = {
    'node-name': node,
    'read-only': true,
    ...common(mirror.settings),
    file: file(path, mirror.settings),
  };
  return format === 'qcow2' ? { driver: 'qcow2', ...options } : { driver: 'raw', ...options };
}

/** The file of a mirror that is served: open, for `blockdev-reopen` to put it in the server's place. */
export function mirrorFileOptions({ fileNode, path, settings }: MirrorNode): BlockdevAdd {
  // As a file below a format has it from that.
  return { ...file(path, settings, fileNode), cache: common(settings).cache, discard: 'unmap' };
}

/** `blockdev-reopen` sets everything that is not named back to its default, so all is named. */
export function reopenOptions({ node, mirror }: TargetChain): ReopenOptions {
  return {
    driver: 'qcow2',
    'node-name': mirror.node,
    ...common(mirror.settings),
    file: mirror.fileNode,
    backing: node,
  };
}

/**
 * The mirror job. Never `write-blocking`: a job in that mode that is cancelled at `ready` under load frees what guest writes
 * under way still use (mirror_run frees in_flight_bitmap before it drains the source); QEMU 7.2 and 10.0 crashed within 7 to
 * 13 cancels. And a target that hangs would hang the guest.
 */
export function mirrorArguments({ job, source, node }: MirrorNode): CommandArguments<'blockdev-mirror'> {
  return {
    'job-id': job,
    device: source,
    target: node,
    sync: 'top',
    'copy-mode': 'background',
    // The size of a subcluster: a 4 KiB guest write is mirrored as 4 KiB and not as 64.
    granularity: 4096,
    'auto-finalize': false,
    'auto-dismiss': false,
    // The guest never sees an error of the target: the job ends, and the guest goes on at the source.
    'on-target-error': 'report',
  };
}

export function foldArguments({ job, overlay, base }: FoldJob): CommandArguments<'block-commit'> {
  return { 'job-id': job, device: overlay, 'base-node': base, 'auto-finalize': false, 'auto-dismiss': false };
}
