# The image: the program, the system libraries that it is linked with, the roots that it trusts, and nothing else: no shell,
# no package manager, no base that has to be pulled. `make image` makes what is copied here (packaging/rootfs) and builds it.
FROM scratch
COPY target/image/root/ /
COPY --chown=65532:65532 target/image/own/ /var/lib/
# Its configuration listens on every address and keeps the store in /var/lib/roadstead; mount another over it, or set single
# values by the environment: ROADSTEAD_STORE__MAX_BYTES=200GiB.
ENV ROADSTEAD_CONFIG=/etc/roadstead/roadstead.toml
USER 65532:65532
VOLUME /var/lib/roadstead
EXPOSE 5000
# It needs neither curl nor a shell, and finds the server by the configuration.
HEALTHCHECK --interval=10s --timeout=15s --start-period=60s --retries=3 CMD ["/usr/bin/roadstead", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/roadstead"]
CMD ["serve"]
