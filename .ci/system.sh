#!/bin/sh
# Installs the Debian packages listed in a file where it may, and says what is missing where it may not.
# Never fails: a room that needs a missing program reports "not run: needs X".
list=$1
missing=""
for package in $(sed 's/#.*//' "$list"); do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing Debian packages:$missing"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 \
    || echo "could not install:$missing"
else
  echo "missing system packages:$missing (install them with: apt-get install$missing)"
fi
exit 0
