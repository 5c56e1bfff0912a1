/** Numbers that a seed repeats: xorshift32. */
export interface Random {
  /** From 0 up to, and without, `below`. */
  integer(below: number): number;
  pick<T>(values: readonly [T, ...T[]]): T;
  chance(probability: number): boolean;
}

export function random(seed: number): Random {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
  const integer = (below: number): number => Math.floor(next() * below);
  return {
    integer,
    pick: (values) => values[integer(values.length)] ?? values[0],
    chance: (probability) => next() < probability,
  };
}
