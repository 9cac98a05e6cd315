# One image for the three processes; the command says which: dist/api/main.js, which serves the dashboard too,
# dist/taskmanager/main.js or dist/guestagent/main.js.

FROM node:24-slim AS build
WORKDIR /coffer
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /coffer
COPY --from=build /coffer/package.json ./
COPY --from=build /coffer/node_modules ./node_modules
COPY --from=build /coffer/bin ./bin
COPY --from=build /coffer/dist ./dist
# A volume takes over the owner of the folder it is mounted on. The sub-folder is the guest agent's own.
RUN mkdir -p /var/lib/coffer/guests/simulated /var/lib/coffer/cache && chown -R node:node /var/lib/coffer
USER node
ENTRYPOINT ["node", "--enable-source-maps"]
CMD ["dist/api/main.js"]
