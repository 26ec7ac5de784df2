# Pages of reports and speedscope's own importer, in a headless browser: no part of "make check", as Chromium is large.
SPEEDSCOPE_VERSION := 1.25.0
SPEEDSCOPE := $(BUILD)/browser/node_modules/speedscope/package.json

$(SPEEDSCOPE):
	$(call say,NPM,speedscope@$(SPEEDSCOPE_VERSION))
	$(Q)mkdir -p $(BUILD)/browser
	$(Q)npm install --silent --no-audit --no-fund --prefix $(BUILD)/browser \
		speedscope@$(SPEEDSCOPE_VERSION)
	$(Q)touch $@

.PHONY: check-browser
check-browser: $(BUILD)/loopscope $(BUILD)/demo-qemu-loop $(UNIT_REPORT_DIR)/workload-tool ## in Chromium: the page of a report, and speedscope with an export (installs both)
	$(Q).ci/setup browser
	$(Q)command -v npm >/dev/null || .ci/setup npm
	$(Q)$(MAKE) --no-print-directory $(SPEEDSCOPE)
	$(Q)BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) -m pytest -q -p no:cacheprovider tests/browser
