# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pre-deployment: is it safe to deploy now?

# %% [markdown] tags=["setup"]
# **Which environment is deployed to?** Values are names and paths, never connection strings: papermill keeps every
# value in the notebook it leaves behind.

# %% tags=["parameters"]
environment: str = "production"  # name in auditkit.toml of the database that is deployed to
expected_version: str = ""  # deploy up to this version; empty means all files
snapshot: str = ""  # where to save the snapshot for `auditkit verify --before`; empty means nowhere
config: str = ""  # path of auditkit.toml; empty means the nearest one upwards
out_dir: str = ""  # where to keep audit.json; empty means nowhere

# %% [markdown] tags=["setup"]
# **Are the parameters sound, and what is the result?** A misspelt name stops here. Everything below is drawn
# from this one result.

# %%
from auditkit import preflight, report

report.check_parameters(globals(), "pre_deployment")
audit = preflight(environment, snapshot=snapshot, expected_version=expected_version, config=config).keep(
    out_dir
)

# %% [markdown] tags=["setup"]
# **Is it safe to deploy, and if not: what speaks against it, and what comes next?**

# %%
report.summary(audit)

# %% [markdown]
# ## Gates
#
# What was asked, and what is the answer?

# %%
report.checks(audit)

# %% [markdown]
# ## Pending migrations
#
# What will each of them do here, and who will have to wait? They were run on a shadow rebuilt from this environment.

# %%
report.pending(audit)

# %% [markdown]
# ## Findings
#
# What speaks against it, and what can be done?

# %%
report.findings(audit, inline=True)

# %% [markdown]
# ## Environments
#
# Which migration is where?

# %%
report.matrix(audit)

# %% [markdown]
# ## Linter
#
# What does squawk, which reads the files, say of them?

# %%
report.linter(audit)

# %% [markdown]
# ## Way back
#
# How could it be taken back? For reading, and rehearsing on a copy: nothing here runs by itself.

# %%
report.way_back(audit)

# %% [markdown]
# ## Not checked
#
# What does this answer say nothing about?

# %%
report.coverage(audit)

# %% [markdown]
# ## Provenance
#
# How was this result made, and could it be made again?

# %%
report.provenance(audit)
