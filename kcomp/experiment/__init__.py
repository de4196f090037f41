"""What a recipe makes: network, batches and stages, built in one place for training, prediction and soups."""
