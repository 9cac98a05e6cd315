import { primaryReplicaSequence } from '../sequence/primary-replica.ts';
import { operatorsOwn } from './manager.ts';

export const mysql = operatorsOwn('mysql', primaryReplicaSequence);
