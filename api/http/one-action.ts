import type { preValidationHookHandler } from 'fastify';
import { CofferError } from '../../src/core/errors.ts';

/**
 * Refuses, with Trove's message, a body that doesn't hold exactly one action that we know. `unsupported` are
 * actions that Trove knows and we do not: Trove's message for those differs from its message for a misspelt
 * action.
 */
export function requireOneAction(
  known: readonly string[],
  unsupported: readonly string[] = [],
): preValidationHookHandler {
  return (request, _reply, done) => {
    const actions = isObject(request.body) ? Object.keys(request.body) : [];
    const [action] = actions;
    if (action === undefined || actions.length !== 1) {
      return done(
        new CofferError('invalid_request', 'Action request should have exactly one action specified in body'),
      );
    }
    if (unsupported.includes(action)) {
      return done(new CofferError('invalid_request', `Action '${action}' not supported`));
    }
    if (!known.includes(action)) {
      return done(new CofferError('invalid_request', `Action ${action.slice(0, 60)} not supported`));
    }
    done();
  };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
