// @ts-check

/**
 * The clusters of a chaos run.
 *
 * @typedef {import('./random.mjs').Dice} Dice
 * @typedef {import('../../../dist/client/index.js').CreateClusterInput} CreateClusterInput
 * @typedef {object} Kind
 * @property {'simulated' | 'postgresql'} manager
 * @property {readonly string[]} versions from the first to the last, one upgrade after the other
 * @property {(name: string, dice: Dice) => CreateClusterInput} order
 */

/** @type {import('../writer.mjs').Account} */
export const ACCOUNT = { user: 'app', password: 'a secret of the chaos run', database: 'app' };

/** @type {Kind} */
export const SIMULATED = {
  manager: 'simulated',
  versions: ['1.0', '1.1', '2.0'],
  order: (name, dice) => {
    const instances = Array.from({ length: dice.between(2, 5) }, () => ({}));
    return {
      name,
      datastore: { type: 'simulated', version: '1.0' },
      instances,
      extended_properties: {
        simulated: {
          pre_upgrade_ms: dice.between(0, 100),
          upgrade_ms: dice.between(20, 400),
          post_upgrade_ms: dice.between(0, 60),
          ...(dice.chance(0.15) && { fail: [mishap(dice, instances.length, dice.chance(0.2) ? 3 : 1)] }),
          ...(dice.chance(0.1) && { silent: [mishap(dice, instances.length, 1)] }),
        },
      },
    };
  },
};

/**
 * A fault that hits three times is more than an upgrade tolerates: the upgrade pauses until somebody retries.
 * @param {Dice} dice
 * @param {number} instances
 * @param {number} times
 */
function mishap(dice, instances, times) {
  const action = /** @type {'pre_upgrade' | 'upgrade' | 'post_upgrade'} */ (
    dice.pick(['pre_upgrade', 'upgrade', 'post_upgrade'])
  );
  return { instance: dice.between(0, instances - 1), action, times };
}

/** @type {Kind} */
export const POSTGRESQL = {
  manager: 'postgresql',
  // Two of the minor releases were published for only one platform.
  versions:
    process.platform === 'linux' && process.arch === 'x64'
      ? ['17.5', '17.6', '17.7', '17.8', '17.9', '17.10']
      : ['17.5', '17.6', '17.9', '17.10'],
  order: (name) => ({
    name,
    datastore: { type: 'postgresql', version: '17.5' },
    instances: [{}, {}, {}],
    databases: [{ name: ACCOUNT.database }],
    users: [{ name: ACCOUNT.user, password: ACCOUNT.password, databases: [{ name: ACCOUNT.database }] }],
  }),
};
