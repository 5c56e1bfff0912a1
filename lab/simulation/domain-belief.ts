import { escapeAttribute } from '../../src/vm/libvirt/domain-xml.ts';

/** An image of a chain, and the node that libvirt has given it in QEMU. */
export interface KnownImage {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly node: string;
}

/** libvirt's `<mirror>`. */
export interface KnownMirror {
  readonly image: KnownImage;
  readonly below: readonly KnownImage[];
  /** Nothing while the job is being concluded: a status file that was written then is not loaded again (9.0). */
  kind: 'copy' | 'active-commit' | '';
  ready: '' | 'yes' | 'pivot' | 'abort';
}

/** libvirt's own record of a block job. QEMU's job has the same name. */
export interface KnownJob {
  readonly id: string;
  readonly kind: 'copy' | 'active-commit';
  state: 'new' | 'running' | 'ready' | 'pivoting' | 'aborting';
  /** A call waits for its end, and takes care of it. */
  awaited: boolean;
}

/** What libvirt believes of one disk; it never asks QEMU for the chain. */
export interface KnownDisk {
  readonly target: string;
  /** The active image first. */
  images: readonly KnownImage[];
  mirror?: KnownMirror;
  job?: KnownJob;
}

/** What libvirt believes of a domain. */
export type DomainBelief = readonly KnownDisk[];

/** The same, to be changed apart from the other. */
export function copyOf(belief: DomainBelief): DomainBelief {
  return belief.map(({ target, images, mirror, job }) => ({
    target,
    images,
    ...(mirror && { mirror: { ...mirror } }),
    // Calls do not survive their libvirtd.
    ...(job && { job: { ...job, awaited: false } }),
  }));
}

/** The `<domain>` of it, as `virsh dumpxml` has it, with what a migration reads. */
export function formatDomain(name: string, uuid: string, belief: DomainBelief): string {
  const disks = belief.map(({ target, images, mirror }) => {
    const [active] = images;
    const driver = `<driver name='qemu' type='${active?.format}' cache='none' discard='unmap'/>`;
    const chain = source(active) + below(images.slice(1));
    return `<disk type='file' device='disk'>${driver}${chain}${mirror ? mirrorXml(mirror) : ''}<target dev='${target}' bus='virtio'/></disk>`;
  });
  return `<domain type='qemu'><name>${name}</name><uuid>${uuid}</uuid><devices>${disks.join('')}</devices></domain>`;
}

function mirrorXml({ image, below: chain, kind, ready }: KnownMirror): string {
  const attributes = `type='file' job='${kind}'${ready === '' ? '' : ` ready='${ready}'`}`;
  return `<mirror ${attributes}><format type='${image.format}'/>${source(image)}${below(chain)}</mirror>`;
}

function source(image: KnownImage | undefined): string {
  return `<source file='${escapeAttribute(image?.path ?? '')}'/>`;
}

function below([next, ...rest]: readonly KnownImage[]): string {
  if (next === undefined) return '<backingStore/>';
  return `<backingStore type='file'><format type='${next.format}'/>${source(next)}${below(rest)}</backingStore>`;
}
