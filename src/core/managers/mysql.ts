import { primaryReplicaOrder } from '../order/primary-replica.ts';
import { operatorsOwn } from './manager.ts';

export const mysql = operatorsOwn('mysql', primaryReplicaOrder);
