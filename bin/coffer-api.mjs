#!/usr/bin/env node
// @ts-check
import { runProgram } from './program.mjs';

await runProgram('api/main.js');
