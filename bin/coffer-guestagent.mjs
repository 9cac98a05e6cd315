#!/usr/bin/env node
// @ts-check
import { runProgram } from './program.mjs';

await runProgram('guestagent/main.js');
