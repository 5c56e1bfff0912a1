import { EXIT, formatSize, isFerryError, messageOf } from '../../base/index.ts';
import { formatQmpAddress } from '../../qmp/index.ts';
import {
  type DiscoveredVm,
  type Disk,
  discoverQemu,
  loadLibvirt,
  QemuVm,
  type VirtualMachine,
} from '../../vm/index.ts';
import type { Action } from '../cli.ts';
import { libvirtUri } from '../find-vm.ts';
import { table } from '../terminal/table.ts';
import { count, type Paint, printable } from '../terminal/text.ts';

/** A monitor that answers does so in milliseconds; one that somebody holds never does. */
const ASK_WITHIN_MS = 2000;

/** One running VM, and what its monitor says where it can be asked. */
interface VmReport extends Omit<DiscoveredVm, 'qmp'> {
  readonly monitors: readonly { readonly address: string; readonly heldBy?: string; readonly inUse?: boolean }[];
  readonly status?: string;
  readonly version?: string;
  readonly disks?: readonly DiskReport[];
  /** Why there are no disks here. */
  readonly unknown?: string;
}

interface DiskReport {
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  readonly format?: string;
  readonly image?: string;
  /** Images of the chain. */
  readonly images: number;
  readonly readOnly: boolean;
  readonly removable: boolean;
  readonly shareable: boolean;
}

const COLUMNS = [
  { title: 'DISK' },
  { title: 'SIZE', align: 'right' },
  { title: 'FORMAT' },
  { title: 'IMAGES', align: 'right' },
  { title: '' },
  { title: 'IMAGE' },
] as const;

/**
 * `blockferry discover`: the QEMU processes of this host, their monitors, and their disks; those of libvirt are asked
 * through it.
 */
export function discover(connect?: string): Action {
  return async (cli) => {
    const found = await discoverQemu();
    const reports = await Promise.all(found.map((vm) => report(vm, libvirtUri(cli, connect))));
    cli.show('vm', reports, () =>
      reports.flatMap((vm, index) => [...(index > 0 ? [''] : []), ...vmLines(vm, cli.width, cli.paint)]),
    );
    const message =
      reports.length === 0 || cli.options.json ? `${count(reports.length, 'running VM')} on this host` : '';
    return { outcome: 'done', exitStatus: EXIT.done, message };
  };
}

async function report({ qmp, ...vm }: DiscoveredVm, uri: string): Promise<VmReport> {
  const monitors = qmp.map(({ heldBy, inUse, ...address }) => ({
    address: formatQmpAddress(address),
    ...(heldBy && { heldBy }),
    ...(inUse !== undefined && { inUse }),
  }));
  const [socket] = qmp.filter(({ heldBy, inUse }) => heldBy === undefined && inUse !== true);
  const limit = { signal: AbortSignal.timeout(ASK_WITHIN_MS) };
  const connecting: Promise<VirtualMachine> | undefined =
    vm.managedBy === 'libvirt' && vm.uuid !== undefined
      ? (await loadLibvirt()).LibvirtVm.connect(uri, vm.uuid, limit)
      : socket && QemuVm.connect(socket, limit);
  if (connecting === undefined) return { ...vm, monitors, unknown: whyNotAsked({ ...vm, qmp }) };
  try {
    await using connection = await connecting;
    const { status, version, disks } = await connection.inventory();
    return { ...vm, monitors, status, version, disks: disks.map(diskReport) };
  } catch (error) {
    return { ...vm, monitors, unknown: whyNoAnswer(error) };
  }
}

function whyNotAsked({ managedBy, qmp, whyNot }: DiscoveredVm): string {
  if (managedBy === 'libvirt') return 'libvirt holds its monitor';
  if (qmp.length > 0) return 'another client is connected to its monitor';
  return whyNot ?? 'it was started without a QMP socket';
}

function whyNoAnswer(error: unknown): string {
  if (isFerryError(error)) return error.message;
  const timedOut = error instanceof Error && error.name === 'TimeoutError';
  if (timedOut) return 'its monitor did not greet: another client holds it, or QEMU hangs';
  return messageOf(error);
}

function diskReport({ id, size, images, readOnly, removable, shareable }: Disk): DiskReport {
  const [active] = images;
  return {
    id,
    size,
    ...(active && { format: active.format, image: active.path ?? active.filename }),
    images: images.length,
    readOnly,
    removable,
    shareable,
  };
}

function vmLines(vm: VmReport, width: number, paint: Paint): string[] {
  const facts = [
    `pid ${vm.pid}`,
    `user ${vm.user}`,
    ...(vm.version === undefined ? [] : [`QEMU ${vm.version}`]),
    ...(vm.status === undefined ? [] : [vm.status]),
    ...(vm.uuid === undefined ? [] : [vm.uuid]),
  ];
  const monitors = vm.monitors.map(({ address, heldBy, inUse }) => {
    const note = heldBy ? ` (held by ${heldBy})` : inUse ? ' (in use)' : '';
    return `  monitor ${printable(address)}${note}`;
  });
  return [
    `${paint('bold', printable(vm.name ?? '(no name)'))} (${facts.map(printable).join(', ')})`,
    ...(vm.managedBy ? [`  managed by ${vm.managedBy}`] : []),
    ...monitors,
    ...(vm.unknown === undefined ? [] : [paint('yellow', `  its disks are not known: ${printable(vm.unknown)}`)]),
    ...diskLines(vm.disks ?? [], width - 2, paint).map((line) => `  ${line}`),
  ];
}

function diskLines(disks: readonly DiskReport[], width: number, paint: Paint): string[] {
  if (disks.length === 0) return [];
  const rows = disks.map(({ id, size, format, image, images, readOnly, removable, shareable }) => {
    const marks = [readOnly ? 'read-only' : '', removable ? 'removable' : '', shareable ? 'shareable' : ''];
    const sizes = image === undefined ? ['', '', ''] : [formatSize(size), format ?? '', String(images)];
    return [id, ...sizes, marks.filter(Boolean).join(', '), image ?? '(empty)'];
  });
  return table(COLUMNS, rows, width, paint);
}
