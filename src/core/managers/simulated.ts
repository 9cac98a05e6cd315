import { primaryReplicaSequence } from '../sequence/primary-replica.ts';
import { type Manager, operatorsOwn } from './manager.ts';

/** Instances that behave like database servers and hold no data: for trying Coffer out and for tests. */
export const simulated: Manager = {
  ...operatorsOwn('simulated', primaryReplicaSequence),
  buildsServers: true,
  hasServers: false,
  copiesPrimary: false,
  builtIn: {
    datastore_id: '6df1e299-3f5e-5369-9431-98f5092bede1',
    default_version_id: '8b50c1a1-fe55-5337-81e0-cff138aca65b',
    versions: [
      { id: '32d499c7-f0ad-551b-adf9-12774ea27a7c', name: '1.0', packages: [] },
      { id: '0919d08b-e3ec-5696-82fb-a2be92463af3', name: '1.1', packages: [] },
      { id: '8b50c1a1-fe55-5337-81e0-cff138aca65b', name: '2.0', packages: [] },
    ],
  },
};
