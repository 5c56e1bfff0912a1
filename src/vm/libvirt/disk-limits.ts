import { paramValues, type TypedParam } from '../../libvirt/index.ts';
import type { DiskLimits, GuestBrake } from '../virtual-machine.ts';
import type { Domain } from './block-jobs.ts';

/** libvirt's names of the three. They go together: one that is not given is taken to be no limit. */
const FIELDS = { total: 'total_bytes_sec', read: 'read_bytes_sec', write: 'write_bytes_sec' } as const;
/** More than QEMU knows limits. */
const MOST = 32;
/** `VIR_DOMAIN_AFFECT_LIVE`: the definition of a persistent VM keeps its own. */
const LIVE = 1;

/** libvirt's iotune of a running domain (`virsh blkdeviotune`). It is the guest that is limited; mirrors are not. */
export function diskLimits(domain: () => Promise<Domain>): GuestBrake {
  return {
    async limits(disk) {
      const { client, dom } = await domain();
      const { params } = await client.call('DOMAIN_GET_BLOCK_IO_TUNE', { dom, disk, nparams: MOST, flags: LIVE });
      const values = paramValues(params);
      const value = (name: keyof DiskLimits): number => Number(values[FIELDS[name]] ?? 0);
      return { total: value('total'), read: value('read'), write: value('write') };
    },

    async setLimits(disk, limits) {
      const { client, dom } = await domain();
      const params = (['total', 'read', 'write'] as const).map((name): TypedParam => {
        return { field: FIELDS[name], type: 'ullong', value: BigInt(limits[name]) };
      });
      await client.call('DOMAIN_SET_BLOCK_IO_TUNE', { dom, disk, params, flags: LIVE });
    },
  };
}
