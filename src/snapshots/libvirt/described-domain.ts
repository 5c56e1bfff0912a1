import { readXml } from '../../domainsnapshot/index.ts';
import type { Inventory } from '../../vm/index.ts';
import type { DomainDescription } from '../kept/domain-description.ts';

/** What libvirt says of a VM, and which disk is which in it: blockferry calls them by their targets, too. */
export function describedDomain(xml: string, { disks }: Inventory): DomainDescription {
  return { domain: readXml(xml).root, disks: disks.map((disk) => ({ target: disk.id, disk })) };
}
