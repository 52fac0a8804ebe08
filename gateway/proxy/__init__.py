"""The data path: downstream request → decision → upstream → back."""
