/** Whose rules count. `modern`: libvirt 11.3 with mirrors. `seed-2012`: the patch of March 2012 to the letter. */
export type Profile = 'modern' | 'seed-2012';
