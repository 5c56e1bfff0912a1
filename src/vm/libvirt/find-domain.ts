import { ferryError } from '../../base/index.ts';
import { ERR, isLibvirtError, type LibvirtClient, type RemoteDomain } from '../../libvirt/index.ts';

/**
 * The domain of this id, name or uuid, in virsh's order.
 * @throws FerryError NO_SUCH_VM
 */
export async function domainOf(client: LibvirtClient, vm: string): Promise<RemoteDomain> {
  const looks = [
    /^\d+$/.test(vm) && Number(vm) < 2 ** 31 && (() => client.call('DOMAIN_LOOKUP_BY_ID', { id: Number(vm) })),
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(vm) &&
      (() => client.call('DOMAIN_LOOKUP_BY_UUID', { uuid: vm })),
    () => client.call('DOMAIN_LOOKUP_BY_NAME', { name: vm }),
  ];
  for (const look of looks) {
    if (look === false) continue;
    try {
      return (await look()).dom;
    } catch (error) {
      if (!isLibvirtError(error, ERR.NO_DOMAIN)) throw error;
    }
  }
  const { domains } = await client.call('CONNECT_LIST_ALL_DOMAINS', { need_results: 1 });
  throw ferryError('NO_SUCH_VM', { vm, vms: domains.map(({ name }) => name).join(', ') || 'none' });
}
